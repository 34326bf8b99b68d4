"""Blocks that the models share: flat arguments, no configs.

Dimension letters, here and in every docstring: `B` batch, `L` sequence length, `H` hidden size,
`E` embedding width, `A` attention heads, `D` width of one head, `F` feed-forward width,
`K` convolution kernel, `V` vocabulary, `M` masked tokens in the batch, `C` choices.
"""
