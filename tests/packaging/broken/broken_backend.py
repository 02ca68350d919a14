"""A plug-in that cannot be imported: it must be named, and hurt nobody."""

raise RuntimeError("the vendor library is from another decade")
