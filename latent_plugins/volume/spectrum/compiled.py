"""Maps whose Jacobian products go through torch.compile."""

import warnings

import torch


class CompiledMap:
    """A map like another one, whose products are compiled at their first use, for every shape anew.

    Worth it for thousands of latents: compiling takes a minute or so. Where torch.compile does not work, a warning says
    so once and the products run as they are.
    """

    def __init__(self, space_map):
        self.plain = space_map
        parts = getattr(space_map, "parts", None)
        self.parts = parts and (parts[0], CompiledMap(parts[1]))  # the first part is cheap
        self._compiled = {}

    def __getattr__(self, name):
        return getattr(self.plain, name)

    def __call__(self, x):
        return self.plain(x)

    def product(self, function, *arguments):
        """function(the plain map, *arguments), compiled if that works."""
        if function not in self._compiled:
            self._compiled[function] = torch.compile(lambda *rest: function(self.plain, *rest), dynamic=False)
        try:
            return self._compiled[function](*arguments)
        except Exception as error:  # compilers fail in many ways; what is wrong with the map itself fails again below
            result = function(self.plain, *arguments)
            reason = str(error).strip().partition("\n")[0][:120]
            warnings.warn(f"torch.compile does not work here ({reason}): products run uncompiled", stacklevel=2)
            self._compiled[function] = lambda *rest: function(self.plain, *rest)
            return result


def product(function, space_map, *arguments):
    """function(space_map, *arguments), by way of the map's compiler where it has one."""
    compiler = getattr(space_map, "product", None)
    return function(space_map, *arguments) if compiler is None else compiler(function, *arguments)
