"""A probe of one service on this machine: does it say SERVING?"""
