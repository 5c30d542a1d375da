"""Users: who there is, everything of one person in a file, and erasing a person. Plain SQL through asyncpg."""

from junkie_cli.core.users.erasing import Erased, apply_erasures, erase_user
from junkie_cli.core.users.exporting import ExportedUser, export_user
from junkie_cli.core.users.ledger import FILE_NAME, Erasure, complete_ledger_file, read_ledger, read_ledger_file
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
    "list_users",
    "read_ledger",
    "read_ledger_file",
    "write_receipt",
]
