"""The one way to erase a recording that is kept: puncture, then remove files, then rows.

core/access is asked before it is called, and withdrawals ask no role; a call that still runs is erased by its Applier.
"""

from __future__ import annotations

from sqlalchemy import Connection

from mitschnitt.core.call import decode_call_id
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.keyring import Span
from mitschnitt.keeper.pages import pages_at_end
from mitschnitt.store import page_queries, queries


def erase(holdings: Holdings, call_id: str) -> int | None:
    """The epoch from which on no key opens the recording; None when nothing of the call was kept.

    Each step may be repeated. A crash after the puncture leaves files that nothing opens and a row that says
    `kept`: start-up finds such rows (`finish_erasures`) and goes on here.
    """
    row = holdings.writer.submit(lambda connection: queries.call_by_id(connection, call_id)).result()
    if row is None or row.state != queries.KEPT or row.tree_index is None:
        return None
    epoch = holdings.punctures.request([Span(row.tree_index)]).result()
    for forget in holdings.gone:
        forget(call_id)
    holdings.vault.remove(decode_call_id(call_id), None)
    holdings.writer.scrub()
    pages = pages_at_end(call_id, {}, agents_read=False)

    def close(connection: Connection) -> None:
        queries.close_not_kept(connection, call_id)
        page_queries.put_pages(connection, call_id, pages)  # the caller's stays: it is the caller's

    holdings.writer.submit(close).result()
    return epoch


def finish_erasures(holdings: Holdings) -> int:
    """Erase again what says `kept` though its key is gone; how many."""
    rows = holdings.writer.submit(queries.all_calls).result()
    broken = [
        row.call_id
        for row in rows
        if row.state == queries.KEPT and row.tree_index is not None and not holdings.keyring.derives(row.tree_index)
    ]
    for call_id in broken:
        erase(holdings, call_id)
    return len(broken)
