"""
The platform: tools, images and clusters, from nothing to a running Hailstorm.

It needs the standard library only, because it runs before anything else is
installed. `platform/` itself must never hold an `__init__.py`: it would shadow
the standard library's `platform`.
"""
