-- What the shop sells: prices in cents, and what is in stock in the beginning.
return {
  apple = { price = 50, stock = 100000 },
  bread = { price = 320, stock = 50000 },
  cheese = { price = 890, stock = 2000 },
}
