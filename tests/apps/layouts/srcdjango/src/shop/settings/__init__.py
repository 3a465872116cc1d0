from .development import *
