"""What a file may ask for at most: every bound on memory, time and depth, with its reason.

Readers compare what a file says with these numbers before they do the work. Each is far above what published files
need, and low enough that a hostile file of a few bytes costs neither memory nor minutes. Whoever has an honest file
beyond them sets the environment variable LATENT_PLUGINS_BUDGETS, by which those that count are multiplied.
"""

import math
import os


def _factor(text):
    """The number in LATENT_PLUGINS_BUDGETS; 1 where it is none."""
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return value if 1 <= value and math.isfinite(value) else 1.0


FACTOR = _factor(os.environ.get("LATENT_PLUGINS_BUDGETS", "1"))


def _scaled(count):
    return int(count * FACTOR)


MORE = "if that is right, set LATENT_PLUGINS_BUDGETS=10"  # at the end of messages

# Pickles. Official files have some 10⁵ opcodes; an opcode makes an object of two hundred bytes at most (a set).
MAX_OPCODES = _scaled(2_000_000)
# Pickles number what they memorise one after the other. Python allocates the whole memo up to the largest number.
MAX_MEMO_GAP = 10_000
# Python hashes tuples recursively without looking at the stack's end: a million nested ones end the process.
MAX_TUPLE_DEPTH = 100
# Names of functions and classes in one pickle. Each unknown one becomes a class of its own, of a kilobyte.
MAX_NAMES = _scaled(2_000)
# Items and bytes that calls in one pickle make of what is there already: a hundred bytes that call `list` on the same
# million would else take gigabytes. Networks make lists of some thousands.
MAX_MADE = _scaled(20_000_000)
# Digits of a whole number written as text: Python's own bound is 4,300, and it is there for the same reason.
MAX_DIGITS = 4_000

# Bytes of the pickle in an archive of torch.save, whose tensors lie beside it: published ones have some megabytes.
MAX_PICKLE = _scaled(1 << 28)

# What hashing a tuple visits, which may share its parts; it is done anew each time that the tuple is a key.
MAX_TUPLE_PARTS = 10_000
# Strings hash with a secret of the process; tuples and long numbers do not, so that a file can choose any number of
# them with one hash, and a dictionary of those takes a time that grows with its square. Networks use strings.
MAX_TUPLE_KEYS = 1_000
MAX_LONG_NUMBERS = 2_000

# Records of modules: the deepest official network has 5 levels and a thousand modules. Shared children make a graph
# whose paths grow exponentially when it is walked as a tree, so paths are what is counted.
MAX_MODULE_DEPTH = 50
MAX_MODULES = _scaled(50_000)

# A tensor may repeat its storage (stride 0) without holding it; up to so many entries that is harmless.
MAX_REPEATED = 1 << 20

# Constructor arguments: images of 65,536 pixels and as many channels are beyond every network that there is, and so
# are a hundred layers of one mapping network; a list (of blocks, channels, taps) is as long as a network is deep.
MAX_SIZE = 1 << 16
MAX_CHANNEL_BASE = 1 << 24
MAX_LAYERS = 100
MAX_LIST = 256
MAX_TAPS = 64
MAX_KERNEL = 15
MAX_NUMBER = 1e6

# Zip archives: entries of a network file or an array file. Data sets have their own readers and millions of images.
MAX_ENTRIES = _scaled(100_000)
# A header of JSON (config.json, atlas.json, the header of an array file): published ones have some kilobytes.
MAX_JSON = _scaled(16 << 20)
# A member that is read whole before its array's header is known: as NumPy bounds it itself.
MAX_ARRAY_HEADER = 1 << 16

# Tensors of a TorchScript file, decoded: VGG16, the largest detector that there is, has 0.55 GB.
MAX_SCRIPT_BYTES = _scaled(800 << 20)

# Files in a data set, unpacked: an image of 8,192 pixels a side at 16 bits, raw, has 0.4 GB; labels of a million images
# some 50 MB. And pixels, which a few bytes can claim any number of.
MAX_IMAGE_BYTES = _scaled(1 << 29)
MAX_LABEL_BYTES = _scaled(1 << 28)
MAX_PIXELS = _scaled(1 << 26)
# Folders of a data set that links lead to once more: some links to each other make more paths than there are atoms.
MAX_REPEATED_FOLDERS = _scaled(1_000)

# Atlases: rows of candidates. 10⁹ rows of one singular value are 4 GB, a year of work for the cheapest space.
MAX_CANDIDATES = _scaled(1_000_000_000)
# Shards whose names are made before any is looked for: a list of a few hundred megabytes.
MAX_SHARDS = _scaled(1_000_000)
MAX_CLASSES = 1 << 20

# Downloads: ten times the largest published network. DNNLIB_MAX_DOWNLOAD, in bytes, is for those who need more.
MAX_DOWNLOAD = 64 << 30

# Text from a file in a message: enough to recognise a name, too little to fill a terminal.
MAX_SHOWN = 200
MAX_MESSAGE = 2_000

# Numbers of one option, such as --seeds, and images of a metric: as many Python integers take 400 MB, and their images
# weeks.
MAX_NUMBERS = 10_000_000
