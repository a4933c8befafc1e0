// ccxt for JavaScript, with its defaults: what its users call first, then a life of orders.
// ccxt has the address in many places: each URL of Binance is replaced by the same path at ours.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { CLIENT_URL, CLIENT_KEY, CLIENT_SECRET, CLIENT_BOOKS, CLIENT_FOLDER } = process.env;
const ccxt = createRequire(`${CLIENT_FOLDER}/`)('ccxt');
const SYMBOL = 'BTC/USDT';

const exchange = new ccxt.binance({ apiKey: CLIENT_KEY, secret: CLIENT_SECRET });
for (const [name, url] of Object.entries(exchange.urls.api)) {
  if (typeof url === 'string') exchange.urls.api[name] = CLIENT_URL + new URL(url).pathname;
}

let made = 0;
const failed = [];

async function call(method, ...values) {
  made += 1;
  try {
    return await exchange[method](...values);
  } catch (error) {
    failed.push(`${method}: ${error.name} ${error.message}`);
    return undefined;
  }
}

async function readTheMarket() {
  for (const method of ['loadMarkets', 'fetchTime', 'fetchStatus', 'fetchTickers', 'fetchBidsAsks',
    'fetchLastPrices', 'fetchTradingFees', 'fetchDeposits', 'fetchWithdrawals', 'fetchCurrencies']) {
    await call(method);
  }
  for (const method of ['fetchTicker', 'fetchOrderBook', 'fetchTrades', 'fetchTradingFee']) {
    await call(method, SYMBOL);
  }
  await call('fetchTickers', [SYMBOL, 'ETH/USDT']);
  for (const interval of Object.keys(exchange.timeframes)) {
    if (interval !== '1s') await call('fetchOHLCV', SYMBOL, interval, undefined, 5);
  }
  await call('fetchOHLCV', SYMBOL, '1h', exchange.milliseconds() - 3 * 86400000);
}

async function trade() {
  const { bid } = await call('fetchTicker', SYMBOL);
  const at = (share) => exchange.priceToPrecision(SYMBOL, bid * share);
  await call('createOrder', SYMBOL, 'market', 'buy', 0.01, undefined, { test: true });
  await call('createOrder', SYMBOL, 'market', 'buy', 0.01);
  await call('createMarketBuyOrderWithCost', SYMBOL, 500);
  await call('createOrder', SYMBOL, 'market', 'sell', 0.005);
  const resting = await call('createOrder', SYMBOL, 'limit', 'buy', 0.01, at(0.9));
  await call('createOrder', SYMBOL, 'limit', 'buy', 0.01, at(0.91), { clientOrderId: 'mine-1' });
  await call('createOrder', SYMBOL, 'limit', 'buy', 0.01, at(0.92), { postOnly: true });
  await call('createOrder', SYMBOL, 'limit', 'sell', 0.001, at(0.99));
  await call('createOrder', SYMBOL, 'limit', 'sell', 0.002, at(0.94), { stopLossPrice: at(0.95) });
  await call('fetchOrder', resting?.id, SYMBOL);
  await call('fetchOpenOrders', SYMBOL);
  await call('cancelOrder', resting?.id, SYMBOL);
  await call('cancelAllOrders', SYMBOL);
}

await readTheMarket();
await trade();
const orders = await call('fetchOrders', SYMBOL) ?? [];
const trades = await call('fetchMyTrades', SYMBOL) ?? [];
const { total = {} } = await call('fetchBalance') ?? {};
const STATES = { closed: 'FILLED', canceled: 'CANCELED', open: 'NEW', expired: 'EXPIRED' };
writeFileSync(CLIENT_BOOKS, JSON.stringify({
  calls: made,
  failed,
  orders: Object.fromEntries(orders.map((order) => [order.id, {
    symbol: exchange.market(order.symbol).id,
    client_id: order.clientOrderId,
    side: order.side.toUpperCase(),
    status: STATES[order.status] ?? order.status,
    executed: exchange.numberToString(order.filled),
    executed_quote: exchange.numberToString(order.cost),
  }])),
  trades: Object.fromEntries(trades.map((trade) => [trade.id, {
    order_id: trade.order,
    price: exchange.numberToString(trade.price),
    quantity: exchange.numberToString(trade.amount),
    commission: exchange.numberToString(trade.fee.cost),
    commission_asset: trade.fee.currency,
  }])),
  balances: Object.fromEntries(Object.entries(total).filter(([, held]) => held)
    .map(([asset, held]) => [asset, exchange.numberToString(held)])),
}, null, 1));
await exchange.close();
