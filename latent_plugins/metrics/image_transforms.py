"""Translations and rotations of images, each with a mask of the pixels whose value rests on pixels of the image alone.

Source: "Alias-Free Generative Adversarial Networks" (Karras et al. 2021), Appendix E; filter sizes, borders of the
masks and directions as in its official code. Images [N, C, H, W] are zero outside; x points right and y down; masks
hold ones and zeros and have the images' shape and dtype. Filters are computed in float64, applied in the images' dtype.
"""

import math

import torch
import torch.nn.functional as F

LANCZOS = 3  # half-width of the Lanczos windows in pixels, the paper's a
OVERSAMPLING = 4  # of the grid in which rotations interpolate linearly
REACH = 64  # half-width in pixels of the sinc functions before they are windowed


def rotation_matrix(angle):
    """The 2×2 matrix, float64, that turns points by `angle` radians, counterclockwise as seen on the screen."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)


def integer_translation(image, tx, ty):
    """Shift [N, C, H, W] by tx·W and ty·H rounded to whole pixels: (image, mask). T_x of Appendix E.1."""
    height, width = image.shape[2:]
    dx, dy = round(tx * width), round(ty * height)
    columns, rows = (torch.arange(n, device=image.device) - d for n, d in ((width, dx), (height, dy)))
    mask = _rectangle(image, (columns >= 0) & (columns < width), (rows >= 0) & (rows < height))
    return image[:, :, rows.clamp(0, height - 1)][..., columns.clamp(0, width - 1)] * mask, mask


def fractional_translation(image, tx, ty):
    """Shift [N, C, H, W] by tx·W and ty·H pixels with a Lanczos filter: (image, mask). T_x of Appendix E.2."""
    (along_y, rows), (along_x, columns) = (
        _shift(n, t * n, image) for n, t in ((image.shape[2], ty), (image.shape[3], tx))
    )
    return along_y @ image @ along_x.T, _rectangle(image, columns, rows)


def fractional_rotation(image, angle):
    """Turn [N, C, S, S] by `angle` radians, counterclockwise, around its centre: (image, mask). R_α of Appendix E.3.

    The image is oversampled with a filter that passes what it and the result can both represent, then interpolated.
    """
    size = image.shape[-1]
    rotation = rotation_matrix(angle).to(image.device)
    fine, first = _lowpass(image, rotation, OVERSAMPLING)
    centred = torch.arange(size, dtype=torch.float64, device=image.device) - (size - 1) / 2
    y, x = torch.meshgrid(centred, centred, indexing="ij")
    source = torch.stack([x, y], dim=-1) @ rotation  # row vectors: this is the product with the transpose, the inverse
    position = (source + (size - 1) / 2) * OVERSAMPLING  # in the fine grid, counted from pixel 0
    grid = (position + first) * (2 / (fine.shape[-1] - 1)) - 1
    grid = grid.to(image.dtype).expand(len(fine), -1, -1, -1)
    turned = F.grid_sample(fine, grid, mode="bilinear", padding_mode="zeros", align_corners=True)

    # A pixel is OVERSAMPLING samples, of which half come before its centre; of the whole image's samples, as many as
    # the filter reaches and one more are off limits on each side.
    lowest = -(OVERSAMPLING // 2) + first + 1
    highest = OVERSAMPLING * size - 1 - (OVERSAMPLING // 2) - (first + 1)
    nearest = position.round()
    mask = ((nearest >= lowest) & (nearest <= highest)).all(dim=-1)
    return turned.reshape(image.shape), mask.to(image.dtype).expand(image.shape)


def pseudo_rotation(image, angle):
    """Take from [N, C, S, S] the frequencies that turning by `angle` radians would, without turning: (image, mask).

    R*_α of Appendix E.3: what `fractional_rotation` of the unturned image is to be compared with.
    """
    size = image.shape[-1]
    planes, first = _lowpass(image, rotation_matrix(-angle).to(image.device), 1)
    planes = planes[..., first : first + size, first : first + size]
    position = torch.arange(size, device=image.device)
    inside = (position >= first) & (position < size - first)
    return planes.reshape(image.shape), _rectangle(image, inside, inside)


def _lowpass(image, rotation, up):
    """Filter [N, C, S, S] by `oriented_filter`, on a grid `up` times as fine: ([N·C, 1, S', S'], where pixel 0 is).

    Pixel i lies at `up`·i plus the returned index, the filter's reach: nothing of what it spreads is cut off.
    """
    phases = oriented_filter(rotation, up).to(image.dtype).unsqueeze(1)
    planes = image.flatten(0, 1).unsqueeze(1)
    fine = F.conv2d(planes, phases.flip((2, 3)), padding=phases.shape[-1] - 1)
    return F.pixel_shuffle(fine, up), 2 * LANCZOS * up - 1


def oriented_filter(rotation, up):
    """Low-pass filter for an image on a grid `up` times as fine as its pixels: float64 [up², 4·LANCZOS, 4·LANCZOS].

    It passes what both the pixels and the pixels of the image turned by `rotation` (2×2) can represent: the two square
    bands' sinc functions convolved, times the two Lanczos windows convolved (Appendix E.3). The result is in phases,
    the `up`-th taps along both axes, which meet the same pixels; each sums to one, so that constant images stay.
    """
    half = REACH * up - 1
    taps = torch.arange(-half, half + 1, dtype=torch.float64, device=rotation.device) / up
    y, x = torch.meshgrid(taps, taps, indexing="ij")
    upright = torch.stack([x, y], dim=-1)
    turned = upright @ rotation.T
    ideal = _convolve(torch.sinc(upright).prod(dim=-1), torch.sinc(turned).prod(dim=-1))
    window = _convolve(_lanczos_window(upright).prod(dim=-1), _lanczos_window(turned).prod(dim=-1))
    margin = (REACH - 2 * LANCZOS) * up  # the window has all but vanished there
    f = F.pad((ideal * window)[margin:-margin, margin:-margin], (0, 1, 0, 1))
    phases = f.unflatten(1, (-1, up)).unflatten(0, (-1, up)).permute(1, 3, 0, 2).flatten(0, 1)
    return phases / phases.sum(dim=(1, 2), keepdim=True)


def _lanczos_window(x):
    return torch.where(x.abs() < LANCZOS, torch.sinc(x / LANCZOS), 0)


def _convolve(f, g):
    """Circular convolution of two [n, n] arrays, n odd, whose origin is at the centre."""
    return torch.fft.irfft2(torch.fft.rfft2(f) * torch.fft.rfft2(torch.fft.ifftshift(g)), s=f.shape)


def _shift(size, shift, image):
    """(matrix [size, size] that shifts by `shift` pixels, mask [size] of where its filter stays inside)."""
    whole = math.floor(shift)
    position = torch.arange(size, dtype=torch.float64, device=image.device)
    taps = torch.arange(1 - LANCZOS, LANCZOS + 1, dtype=torch.float64) - (shift - whole)
    total = (torch.sinc(taps) * _lanczos_window(taps)).sum().item()  # nearly one; constant images stay
    offset = position[:, None] - position[None, :] - shift
    matrix = torch.sinc(offset) * _lanczos_window(offset) / total
    inside = (position >= whole + LANCZOS) & (position < size + whole - (LANCZOS - 1))
    return matrix.to(image.dtype), inside


def _rectangle(image, columns, rows):
    """The mask that is one where `columns` [W] and `rows` [H] both hold."""
    return (rows[:, None] & columns[None, :]).to(image.dtype).expand(image.shape)
