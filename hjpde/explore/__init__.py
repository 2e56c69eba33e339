"""The page that `hjpde explore` makes: one file a panel, their parts in `_panel.py`, what is around them in `_page.py`."""
