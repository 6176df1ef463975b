"""The benchmark: fused blocks beside stock PyTorch, interleaved in one process.

``config`` says what can be compared and ``runner.run_bench`` does it; ``cases`` builds what is measured, ``modes`` the
ways to run it, ``passes`` what one call does, ``agreement`` refuses a mode whose results are wrong, ``timing`` and
``memory`` measure, ``table`` prints. Nothing is imported here, so that the command line's help needs no torch.
"""
