"""The same networks, faster: what a reader of the backends need not look at.

LeNet's time goes into its first layers: few channels, large images. Libraries work on 8 or 16 channels at once, and a
convolution with 1 channel in and 6 out leaves most of that idle. So a convolution whose output is averaged in windows
of s x s pixels is computed as *one* convolution with stride s and s * s times the channels: one set of channels for
each place in the window, with the kernel shifted to that place. The average over the window then is one over sets of
channels. Each number is the same sum as before, its terms in another order.

`faster(net)` of each module here is the same function of the same parameters, those of `net`; PyTorch's gives no
gradients, for there `faster_step` trains. What does not fit is taken as it is; on a GPU every layer is. What else is
done differs from framework to framework and stands at the head of each module; `torch_layers` has the layers for
`torch`, and `cuda_graph` is for PyTorch on a GPU.
"""
