"""cardrail: runs a stablecoin-backed card programme on Stripe."""
