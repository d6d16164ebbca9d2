"""The real images of a training, batch by batch, and the random numbers of everything in it."""

import hashlib
import itertools

import torch

from latent_plugins.randomness import Stream, integer_key

# What the random numbers of a training are for: substreams.
INITIAL, REAL, FOR_CRITIC, FOR_WEIGHTS, NOISE, MEASURE, WARM_REAL, WARM_CRITIC, WARM_NOISE = range(9)
SELECTED, HELD_OUT = 9, 10  # of a selection among snapshots
READ_AHEAD = 1000  # batches that one pass over the data set's files decodes


def random_key(seed, number, purpose):
    """The seed of a generator for batch `number` of one purpose."""
    return integer_key(number, seed=seed, stream=Stream.TRAINING, substream=purpose)


def check_data(generator, data):
    """Raise ValueError when a data set's images or labels do not fit a generator."""
    wanted = (generator.img_channels, generator.img_resolution, generator.img_resolution)
    if torch.is_tensor(data):
        found, label_dim = tuple(data.shape[1:]), 0
    else:
        found, label_dim = (data.channels, data.resolution, data.resolution), data.label_dim
    if found != wanted:
        raise ValueError(f"data of the shape {list(found)}, the network makes {list(wanted)}: give data of that shape")
    if not len(data):
        raise ValueError("the data set is empty: give at least one image")
    if label_dim != generator.c_dim:
        raise ValueError(
            f"labels of {label_dim} entries, the network takes {generator.c_dim}: open the data set with its labels"
        )


def data_fingerprint(data):
    """16 hexadecimal digits that tell data apart."""
    if not torch.is_tensor(data):
        return data.fingerprint()
    digest = hashlib.sha256(str(list(data.shape)).encode())
    digest.update(data.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def real_batches(trainer, workers):
    """For every step that is left the list of its real batches, float32 [batch, C, H, W], on the CPU."""
    schedule, data = trainer.schedule, trainer.data
    warm = range(schedule.warmup + min(trainer.step, 0), schedule.warmup)
    first = max(trainer.step, 0) * schedule.critic_steps
    numbers = itertools.chain(
        ((number, WARM_REAL) for number in warm),
        ((number, REAL) for number in range(first, schedule.steps * schedule.critic_steps)),
    )

    def indices(number, purpose):
        random = torch.Generator().manual_seed(random_key(trainer.seed, number, purpose))
        return torch.randint(len(data), (schedule.real_batch,), generator=random)

    def batches():
        while chosen := [indices(*number) for number in itertools.islice(numbers, READ_AHEAD)]:
            if torch.is_tensor(data):
                yield from (data[index].float() for index in chosen)
            else:
                pixels = data.batches(torch.cat(chosen).numpy(), batch=schedule.real_batch, workers=workers)
                yield from (images.float() / 127.5 - 1 for images in pixels)

    together = batches()
    for _ in warm:
        yield [next(together)]
    while found := list(itertools.islice(together, schedule.critic_steps)):
        yield found
