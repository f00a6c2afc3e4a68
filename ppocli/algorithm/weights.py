"""The weights of a module, and their gradient, as one vector each."""

import operator

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

_LEFT = "the parameters have left the vector, which would move what nobody reads"


class Weights:
    """A module's parameters and their gradients become views of one vector each, `values` and `gradient`.

    What is done to all of them is then a few operations, however many layers there are. Whatever gives the parameters
    other memory (`module.to`, `load_state_dict(assign=True)`) must come before, and is asserted not to come after.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._parameters = module, list(module.parameters())
        parameters = self._parameters
        self.values = parameters_to_vector(parameters).detach()
        vector_to_parameters(self.values, parameters)
        self.gradient = torch.zeros_like(self.values)
        for parameter, part in zip(parameters, self.parts(self.gradient), strict=True):
            parameter.grad = part

    def parts(self, vector: Tensor) -> list[Tensor]:
        """Return a vector of this length as the parameters have it: a view for each, of its shape."""
        parts = torch.split(vector, [parameter.numel() for parameter in self._parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self._parameters, strict=True)]

    def zero_gradient(self) -> None:
        """Forget the gradient; backward passes add to it."""
        self.gradient.zero_()

    def clip_gradient(self, max_norm: float | None) -> Tensor:
        """Shorten the gradient to `max_norm` where it is longer; return its norm before that, a scalar."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        if max_norm is not None:
            self.gradient.div_((norm / max_norm).clamp_(min=1.0))
        return norm

    def assert_holds_parameters(self) -> None:
        """Assert that the module's parameters, and their gradients, are still views of the vectors."""
        assert all(map(operator.is_, self._parameters, self._module.parameters())), _LEFT
        places = [self.values.data_ptr(), self.gradient.data_ptr()]
        for parameter in self._parameters:
            gradient = parameter.grad
            assert gradient is not None, _LEFT
            assert [parameter.data_ptr(), gradient.data_ptr()] == places, _LEFT
            places = [place + parameter.numel() * parameter.element_size() for place in places]
