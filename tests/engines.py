"""The engines that guests are tested on: all, or those that LODGE_ENGINES names (a,b)."""
import os

ENGINES = os.environ.get("LODGE_ENGINES", "interp,bt").split(",")
