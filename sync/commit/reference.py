"""What a message names: ``proposal:7``, ``write:7``, or ``hold:7`` for the proposal that asked for a hold."""

from __future__ import annotations

from sync.commit.copy_order import CopyOrder
from sync.commit.order import Order
from sync.errors import Malformed

NAMES = ("proposal", "write", "hold")


def parse_reference(reference: str) -> tuple[str, int]:
    """Name and number.

    Raises:
        Malformed: not a reference.
    """
    name, _, number = reference.partition(":")
    if name not in NAMES or not number.isdigit():
        raise Malformed("reference", f"{reference!r} is neither proposal:ID nor write:ID nor hold:ID")
    return name, int(number)


def reference_of(order: Order | CopyOrder) -> str:
    return f"proposal:{order.proposal_id}" if isinstance(order, Order) else f"write:{order.write_id}"
