"""Programs that load an exported file in a fresh process and run it. They import nothing else of this package.

    python load_torch.py FILE INPUTS OUTPUTS

INPUTS is an .npy file of images, float32 (N, C, H, W), scaled to [0, 1]. OUTPUTS is the .npz file to write; it holds
the `logits`. The command `export` checks each file with the program of its format, and a program with
`run_program.py`. The documentation shows the others.
"""
