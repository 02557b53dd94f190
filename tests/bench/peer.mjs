// The best peer found: the npm package @supabase/stripe-sync-engine behind node's own HTTP server.
// `node peer.mjs PORT DSN SECRET`, in a folder where the package is installed.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(pathToFileURL(`${process.cwd()}/`))
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine')
const [port, dsn, secret] = process.argv.slice(2)

await runMigrations({ databaseUrl: dsn, schema: 'stripe' })
const sync = new StripeSync({
  poolConfig: { connectionString: dsn, max: 10 },
  stripeSecretKey: 'sk_test_bench',
  stripeWebhookSecret: secret,
})

createServer((request, response) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', async () => {
    let status = 200
    try {
      await sync.processWebhook(Buffer.concat(parts), request.headers['stripe-signature'])
    } catch (error) {
      status = 500
      console.error(error)
    }
    const body = '{"received":true}'
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length })
    response.end(body)
  })
}).listen(Number(port), '127.0.0.1')
