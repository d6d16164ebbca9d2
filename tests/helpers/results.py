"""What commands wrote and said."""

import json

import numpy as np
import PIL.Image


def picture(path):
    return np.asarray(PIL.Image.open(path))


def samples(outdir):
    lines = [json.loads(line) for line in (outdir / "samples.jsonl").read_text().splitlines()]
    return {line["file"]: line for line in lines}


def check_failure(result, message):
    """Exit code ≠ 0, no traceback, and `message` in one line that begins with "Error:"."""
    assert result.exit_code not in (0, None), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    lines = [line for line in result.output.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1 and result.output.rstrip().endswith(lines[0]), result.output
    assert message in lines[0], lines[0]
