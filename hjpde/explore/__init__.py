"""The page that `hjpde explore` makes: a file a panel, their parts in `_panel.py`, what is around in `_page.py`."""
