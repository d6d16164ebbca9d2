"""What kind of file somebody takes for a network, told from its first bytes."""

import re

from dnnlib_compat.archives import open_archive
from dnnlib_compat.errors import NetworkFileError, check_regular, quoted, reading

# How files of old versions of torch.save begin: a pickle of one number.
LEGACY_CHECKPOINT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

NETWORK_ENDINGS = (".pkl", ".pt", ".pth", ".npz", ".safetensors", ".bin")
UNPACK = "unpack it and give the file in it"
TAR_HINT = f"; a tar archive: {UNPACK}"
# First bytes of other files that people take for networks, and what to do with them.
OTHER_FILES = {
    b"\x1f\x8b": f"packed with gzip; {UNPACK}",
    b"BZh": f"packed with bzip2; {UNPACK}",
    b"\xfd7zXZ": f"packed with xz; {UNPACK}",
    b"7z\xbc\xaf": f"a 7z archive; {UNPACK}",
    b"Rar!": f"a RAR archive; {UNPACK}",
    b"\x28\xb5\x2f\xfd": f"packed with zstd; {UNPACK}",
    b"\x89HDF": "an HDF5 file (of Keras?), which is not read here; take the release's PyTorch or TensorFlow pickle",
    b"%PDF": "a PDF document, not a network",
}


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
        packed = next((name for name in names if name.lower().endswith(NETWORK_ENDINGS)), None)
        if packed is not None:
            raise NetworkFileError(f"{path}: a zip with {quoted(packed)} in it; unpack it and give that file")
        raise NetworkFileError(f"{path}: an archive of another kind (a data set?), not a network")
    if head.startswith(LEGACY_CHECKPOINT):
        return "checkpoint"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "safetensors"
    if head[0] == 0x80 or head[:1] in b"(}]cd":
        return "pickle"
    raise NetworkFileError(
        f"{path}: not a network pickle (it starts with {head[:8]!r}){TAR_HINT if head[257:262] == b'ustar' else ''}"
    )


def first_look(path):
    """(first bytes, names inside if it is a zip archive, else None) of a file that somebody takes for a network.

    Raises NetworkFileError for what downloads and checkouts leave behind instead: nothing, web pages, pointers, halves.
    """
    check_regular(path)
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        raise NetworkFileError(f"{path}: the file is empty, download it again")
    if is_web_page(head):
        raise NetworkFileError(f"{path}: a web page, not a network; the server refused the download, get the file anew")
    if head.startswith(b"version https://git-lfs"):
        raise NetworkFileError(f"{path}: a Git LFS pointer, not a network; run `git lfs pull` or download the file")
    for mark, what in OTHER_FILES.items():
        if head.startswith(mark):
            raise NetworkFileError(f"{path}: {what}")
    if not head.startswith(b"PK"):
        return head, None
    with reading(path), open_archive(path) as archive:
        return head, archive.namelist()


def is_web_page(head):
    """Whether a file begins as a page of HTML does, behind marks of its encoding, white space and comments."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head.decode("utf-16", "ignore")
    else:
        text = head.removeprefix(b"\xef\xbb\xbf").decode("latin1")
    text = text.lstrip()
    while text.startswith("<!--"):
        text = text.partition("-->")[2].lstrip() or "<html>"  # a comment longer than what was read
    return re.match(r"<(!doctype|\?xml|[a-z]+[\s>])", text, re.IGNORECASE) is not None
