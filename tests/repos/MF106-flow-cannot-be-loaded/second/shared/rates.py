from decimal import Decimal

VAT = Decimal("19 %")
