"""What happens after a lead is won: customers, what they buy, and who of them leaves.

They are drawn from streams of their own: without them every file of an export stays as it is. One module per concern:

- `people`: who the customers are, and their attributes
- `days`: their moods, purchases, tickets and offers, day by day
- `deeds`: what a day leaves behind: amounts, refunds, logins, e-mails
- `tables`: all of this as the CRM records it
- `answers`: what the truth answers
- `truth`: how likely each is to leave, what each will spend, and what an offer does
"""
