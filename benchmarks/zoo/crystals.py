"""CHGNet 0.4.2, a graph network: energies of crystals that are made here.

Crystals of five structures (rock salt, caesium chloride, zinc blende, fluorite, perovskite) of common elements at about the sum of their
ionic radii, cells stretched and sheared by up to 6 percent, atoms displaced by up to a tenth of an angstrom. Metric: mean distance of the
energy from that of the float network in meV an atom. The network's own error against its training's reference method is 30 meV an atom
(Deng et al., Nature Machine Intelligence 2023), which is the measure that the distance is told by. The network takes a list of objects.
Here a module in front of it makes them from padded tensors, whose graphs the package's converter found before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.zoo.case import Case, Samples, load_package, outputs_of
from mpsearch.tasks.task import Task

__all__ = ["PUBLISHED_ERROR", "Energies", "build"]

PUBLISHED_ERROR = 30.0
"""Of the network against its reference method, meV an atom."""
FIELDS = ("atomic_number", "atom_frac_coord", "atom_graph", "neighbor_image", "directed2undirected", "undirected2directed", "bond_graph")
SIZES = (32, 24, 64)

CATIONS = {"Li": 0.76, "Na": 1.02, "K": 1.38, "Mg": 0.72, "Ca": 1.0, "Sr": 1.18, "Zn": 0.74, "Mn": 0.83, "Fe": 0.78, "Ni": 0.69}
ANIONS = {"O": 1.4, "S": 1.84, "F": 1.33, "Cl": 1.81, "Br": 1.96}
SMALL = {"Ti": 0.6, "Zr": 0.72, "Al": 0.54, "Nb": 0.64}


class Energies(nn.Module):
    """Energy of each crystal in eV an atom, from padded tensors.

    Args:
        network: CHGNet.
        graph: makes one of its inputs: the package's `CrystalGraph`.
        cutoffs: of atoms and bonds, of the package's converter.
    """

    def __init__(self, network: nn.Module, graph: Any, cutoffs: tuple[float, float]) -> None:
        super().__init__()
        self.network = network
        self.graph = graph
        self.cutoffs = cutoffs

    def forward(self, counts: Tensor, lattice: Tensor, *padded: Tensor) -> Tensor:
        """`[N]` from the true lengths `[N, 7]` of the padded fields, lattices `[N, 3, 3]` in ångström and the fields `[N, longest, …]`."""
        graphs = []
        for row, lengths in enumerate(counts.long().tolist()):
            fields = {name: field[row, :length] for name, field, length in zip(FIELDS, padded, lengths, strict=True)}
            graphs.append(self.graph(lattice=lattice[row], atom_graph_cutoff=self.cutoffs[0], bond_graph_cutoff=self.cutoffs[1], **fields))
        found: Tensor = self.network(graphs, task="e")["e"]
        return found


def build() -> Case:
    """The network of 0.3.0 with its weights."""
    package, graphs, core = load_package("chgnet.model"), load_package("chgnet.graph.crystalgraph"), load_package("pymatgen.core")
    network = package.CHGNet.load(use_device="cpu", verbose=False)
    converter = network.graph_converter
    model = Energies(network, graphs.CrystalGraph, (converter.atom_graph_cutoff, converter.bond_graph_cutoff)).eval()
    generator = np.random.default_rng(21)
    crystals = [converter(_crystal(core, generator)) for _ in range(sum(SIZES))]
    whole = _padded(crystals)
    energies = outputs_of(model, whole)
    parts = zip(*(torch.split(tensor, list(SIZES)) for tensor in (*whole, energies)), strict=True)
    train, validation, test = (Samples(inputs, wanted) for *inputs, wanted in parts)
    return Case(
        model=model,
        train=train,
        validation=validation,
        test=test,
        task=Task.custom(
            loss=lambda found, wanted: 1000 * (found.float() - wanted).abs().mean(),
            metric=lambda found, wanted: 1000 * (found.float() - wanted).abs(),
            metric_name="meV an atom from float",
        ),
        gap="distance",
        epochs=1,
        images=16,
        trials=4,
        batch_size=8,
    )


def _padded(crystals: list[Any]) -> list[Tensor]:
    lengths = torch.tensor([[len(getattr(crystal, name)) for name in FIELDS] for crystal in crystals])
    fields = []
    for place, name in enumerate(FIELDS):
        parts = [getattr(crystal, name) for crystal in crystals]
        shape = next(part.shape[1:] for part in parts if len(part))
        field = torch.zeros(len(crystals), int(lengths[:, place].max()), *shape, dtype=parts[0].dtype)
        for row, part in enumerate(parts):
            field[row, : len(part)] = part.reshape(len(part), *shape)
        fields.append(field)
    # Without the gradients that the package's converter asks for, of which its forces are made.
    return [lengths, torch.stack([crystal.lattice for crystal in crystals]).detach(), *(field.detach() for field in fields)]


def _crystal(core: Any, generator: np.random.Generator) -> Any:
    """A `pymatgen.core.Structure` of 2 to 5 atoms."""
    cation, anion, small = (str(generator.choice(list(table))) for table in (CATIONS, ANIONS, SMALL))
    bond = CATIONS[cation] + ANIONS[anion]
    face = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    kind = generator.integers(5)
    if kind == 0:  # rock salt
        lattice, names, places = 2 * bond * face, [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]
    elif kind == 1:  # caesium chloride
        lattice, names, places = 2 / 3**0.5 * bond * np.eye(3), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]
    elif kind == 2:  # zinc blende
        lattice, names, places = 4 / 3**0.5 * bond * face, [cation, anion], [[0, 0, 0], [0.25, 0.25, 0.25]]
    elif kind == 3:  # fluorite
        lattice, names = 4 / 3**0.5 * bond * face, [cation, anion, anion]
        places = [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]
    else:  # perovskite
        lattice, names = 2 * (SMALL[small] + ANIONS[anion]) * np.eye(3), [cation, small, anion, anion, anion]
        places = [[0, 0, 0], [0.5, 0.5, 0.5], *([0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5])]
    strained = lattice @ (np.eye(3) + generator.uniform(-0.06, 0.06, (3, 3)))
    moved = np.array(places) + generator.uniform(-0.1, 0.1, (len(places), 3)) @ np.linalg.inv(strained)
    return core.Structure(strained, names, moved)
