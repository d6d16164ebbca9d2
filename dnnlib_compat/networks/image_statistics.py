"""What an image looks like at a glance, in numbers: no weights, so no file."""

import torch

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in brightness: ITU-R BT.601


class ImageStatistics(torch.nn.Module):
    """Images [N, 3, H, W] in [0, 255] → float32 [N, 6], `detectors.STATISTICS`, each between 0 and 1.

    Brightness is the mean luma and contrast its standard deviation over the pixels; saturation the mean over the pixels
    of (largest − least channel) / largest, as in HSV, zero for black; then the mean of each channel.
    """

    def __init__(self):
        super().__init__()
        self.luma = torch.nn.Parameter(torch.tensor(LUMA), requires_grad=False)

    def forward(self, images):
        x = images.to(torch.float32) / 255
        luma = (x * self.luma[:, None, None]).sum(dim=1).flatten(1)
        largest, least = x.amax(dim=1), x.amin(dim=1)
        saturation = ((largest - least) / largest.clamp(min=1e-12)).flatten(1).mean(dim=1)
        columns = [luma.mean(dim=1), luma.std(dim=1, correction=0), saturation, *x.mean(dim=(2, 3)).unbind(dim=1)]
        return torch.stack(columns, dim=1)
