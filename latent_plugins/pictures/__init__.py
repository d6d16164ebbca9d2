"""Pictures: images as files, contact sheets, strips and animations, charts, reports that a browser shows."""
