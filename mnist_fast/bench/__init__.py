"""The benchmarks: fused blocks beside stock PyTorch in turns, and whole runs to 99% on MNIST.

``mnist-fast bench``: ``config`` says what can be compared and ``runner.run_bench`` does it; ``cases`` builds what is
measured, ``modes`` the ways to run it, ``passes`` what one call does, ``agreement`` refuses a mode whose results are
wrong, ``timing`` and ``memory`` measure, ``visits`` spreads that over the whole benchmark.
``mnist-fast speedrun``: ``contest`` says who runs and ``speedrun.run_speedrun`` trains them.
Both: ``rows`` and ``statistics`` make numbers with intervals of samples, ``noise`` says how far to trust them;
``table`` and ``speedrun_table`` print, ``bench_page`` and ``speedrun_page`` put ``charts`` into a ``page``;
``recorded`` reads results back and ``comparison`` compares two.

Nothing is imported here, so that the command line's help needs no torch.
"""
