"""The raw files that the pages speak of, in the home of the person who reads them: two small shops, and KuaiRand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl

KUAIRAND = Path(__file__).resolve().parents[3] / "shared" / "data" / "kuairand_pure_slice"
USERS, ITEMS, TASTES, DAYS = 200, 60, 4, 10


def parquet_shop(person: Path) -> None:
    """`~/shop-logs`: ten days up to 2024-03-10; what users click follows their taste."""
    folder = person / "shop-logs"
    folder.mkdir()
    generator = np.random.default_rng(7)
    rows = [
        {
            "user_id": user,
            "item_id": int(item),
            "shown_at": datetime(2024, 3, 1 + day, 9 + place, user % 60),
            "clicked": bool(item % TASTES == user % TASTES and generator.random() < 0.7),
        }
        for user in range(USERS)
        for day in range(DAYS)
        for place, item in enumerate(generator.choice(ITEMS, 8, replace=False))
    ]
    pl.DataFrame(rows).write_parquet(folder / "impressions-2024.parquet")
    pl.DataFrame(
        {
            "item_id": range(ITEMS),
            "category": [f"c{item % TASTES}" for item in range(ITEMS)],
            "title": [f"Thing {item}" for item in range(ITEMS)],
        }
    ).write_parquet(folder / "items.parquet")


def csv_shop(person: Path) -> None:
    """`~/export`: products, and events from 2024-02-29 to 2024-03-05, a file per day; in each a row has no visitor."""
    folder = person / "export"
    folder.mkdir()
    generator = np.random.default_rng(8)
    berlin = timezone(timedelta(hours=1))
    products = [
        f"sku-{item},Home > {'Kitchen' if item % 2 else 'Garden'} > C{item % 6},Thing {item},10,b{item % 3}"
        for item in range(ITEMS)
    ]
    (folder / "products.csv").write_text("\n".join(["sku,category_path,name,price,brand", *products]) + "\n")
    for day in range(6):
        night = datetime(2024, 2, 29, 20, 0, tzinfo=UTC) + timedelta(days=day)
        lines = ["ts,visitor,product,event,page,slot"]
        for place in range(200):
            moment = (night - timedelta(minutes=int(place * 5))).astimezone(berlin).isoformat()
            item, visitor = generator.integers(ITEMS), generator.integers(40)
            event = "open" if generator.random() < 0.3 else "view"
            lines.append(f"{moment},v{visitor},sku-{item},{event},home,{place % 10}")
        lines.append(f"{night.astimezone(berlin).isoformat()},,sku-1,view,home,1")
        (folder / f"events-{day}.csv").write_text("\n".join(lines) + "\n")


def kuairand(person: Path) -> str | None:
    """`~/KuaiRand-Pure/data`, or why it is not there."""
    if not any(KUAIRAND.glob("log_standard_*.parquet")):
        return f"the KuaiRand slice is not at hand (looked in {KUAIRAND})"
    target = person / "KuaiRand-Pure" / "data"
    if not target.exists():
        target.parent.mkdir()
        target.symlink_to(KUAIRAND)
    return None
