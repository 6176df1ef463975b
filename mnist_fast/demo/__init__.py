"""A page on this computer to draw digits on, and to see what networks make of them: the command ``demo``."""

from mnist_fast.demo.networks import Network as Network
from mnist_fast.demo.networks import load_networks as load_networks
from mnist_fast.demo.server import DemoServer as DemoServer

__all__ = ["DemoServer", "Network", "load_networks"]
