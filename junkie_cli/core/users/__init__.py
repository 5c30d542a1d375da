"""Lists users, exports one person's data, and erases a person. Plain SQL through asyncpg."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from junkie_cli.core.schema.ledger import FILE_NAME, Erasure, complete_ledger_file, read_ledger, read_ledger_file
    from junkie_cli.core.users.erase import Erased, apply_erasures, erase_user, finish_erasure
    from junkie_cli.core.users.export import ExportedUser, export_user
    from junkie_cli.core.users.listing import User, UserPage, list_users
    from junkie_cli.core.users.receipt import check_receipt_path, write_receipt

__all__ = [
    "FILE_NAME",
    "Erased",
    "Erasure",
    "ExportedUser",
    "User",
    "UserPage",
    "apply_erasures",
    "check_receipt_path",
    "complete_ledger_file",
    "erase_user",
    "export_user",
    "finish_erasure",
    "list_users",
    "read_ledger",
    "read_ledger_file",
    "write_receipt",
]

# As in core/memories: a command uses one of these modules, and listing does not need the imports of erasing.
_HOMES = {
    "erase": {"Erased", "apply_erasures", "erase_user", "finish_erasure"},
    "export": {"ExportedUser", "export_user"},
    "junkie_cli.core.schema.ledger": {
        "FILE_NAME",
        "Erasure",
        "complete_ledger_file",
        "read_ledger",
        "read_ledger_file",
    },
    "listing": {"User", "UserPage", "list_users"},
    "receipt": {"check_receipt_path", "write_receipt"},
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(module if "." in module else f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(name)
