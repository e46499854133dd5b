"""python -m spatialalign_wan <command>: the stages of the contract, and what an admin needs around them."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
