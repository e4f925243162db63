"""List prices: rates, where they come from, and what a call's billed tokens cost by them."""
