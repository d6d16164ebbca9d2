"""What kind of file somebody takes for a network, told from its first bytes."""

import zipfile

from dnnlib_compat.errors import NetworkFileError

# How files of old versions of torch.save begin: a pickle of one number.
LEGACY_CHECKPOINT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def sniff(path):
    """ "npz" (this project's own), "safetensors", "checkpoint" (torch.save) or "pickle".

    Raises NetworkFileError for anything else, and says what it is.
    """
    head, names = first_look(path)
    if names is not None:
        if "config.npy" in names:
            return "npz"
        if any(name.endswith("/data.pkl") for name in names):
            return "checkpoint"
        raise NetworkFileError(f"{path}: an archive of another kind (a data set?), not a network")
    if head.startswith(LEGACY_CHECKPOINT):
        return "checkpoint"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "safetensors"
    if head[0] == 0x80 or head[:1] in b"(}]cd":
        return "pickle"
    raise NetworkFileError(f"{path}: not a network pickle (it starts with {head[:8]!r})")


def first_look(path):
    """(first bytes, names inside if it is a zip archive, else None) of a file that somebody takes for a network.

    Raises NetworkFileError for what downloads and checkouts leave behind instead: nothing, web pages, pointers, halves.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        raise NetworkFileError(f"{path}: the file is empty, download it again")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise NetworkFileError(f"{path}: a web page, not a network; the server refused the download, get the file anew")
    if head.startswith(b"version https://git-lfs"):
        raise NetworkFileError(f"{path}: a Git LFS pointer, not a network; run `git lfs pull` or download the file")
    if not head.startswith(b"PK"):
        return head, None
    try:
        with zipfile.ZipFile(path) as archive:
            return head, archive.namelist()
    except zipfile.BadZipFile:
        raise NetworkFileError(f"{path}: a truncated or damaged archive, download it again") from None
