import { Counter, Gauge, type Registry } from '@parley/service-kit'

export type GatewayMetrics = ReturnType<typeof createMetrics>

/** The gateway's own sources. Labels are events and codes only: no people, conversations or text. */
export function createMetrics(registry: Registry) {
  const registers = [registry]
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const events = counter('gateway_client_events_total', 'Client events, by outcome', ['event', 'outcome'])
  const refused = counter('gateway_handshakes_refused_total', 'Refused handshakes', ['code'])
  const gaps = counter('gateway_gaps_total', 'Gaps in a room that waited for a later entry or a fill')
  const fills = counter('gateway_fills_total', 'Calls to the api for events that a room missed')
  const resyncs = counter('gateway_resyncs_total', 'Rooms told to fetch their state')
  const overflows = counter('gateway_slow_readers_total', 'Sockets closed because they read too slowly')
  const losses = counter('gateway_stream_losses_total', 'Times that stream entries may have been missed', [
    'reason',
  ])
  const tailed = counter('gateway_stream_entries_total', 'Entries read from the streams')
  return {
    clientEvent: (event: string, outcome: string) => events.inc({ event, outcome }),
    refused: (code: string) => refused.inc({ code }),
    gap: () => gaps.inc(),
    fill: () => fills.inc(),
    resync: () => resyncs.inc(),
    overflow: () => overflows.inc(),
    loss: (reason: string) => losses.inc({ reason }),
    tailed: (count: number) => tailed.inc(count),
    /** Figures that are looked up at each scrape. */
    observe(sources: {
      sockets(): number
      rooms(): number
      answers(): number
      tailsConnected(): boolean
      tailsLive(): boolean
      redisConnected(): boolean
    }): void {
      const gauge = (name: string, help: string, value: () => number) =>
        new Gauge({
          name,
          help,
          registers,
          collect() {
            this.set(value())
          },
        })
      gauge('gateway_sockets', 'Sockets connected', sources.sockets)
      gauge('gateway_rooms', 'Conversations with a socket here', sources.rooms)
      gauge('gateway_answers_streaming', 'Answers that agents stream through this gateway', sources.answers)
      gauge('gateway_streams_connected', '1 while all event streams are followed', () =>
        Number(sources.tailsConnected()),
      )
      gauge(
        'gateway_redis_connected',
        '1 while Redis is connected, so that gateways share presence and typing',
        () => Number(sources.redisConnected()),
      )
      gauge(
        'gateway_streams_live',
        '1 while events arrive by the streams; at 0, rooms are polled from the api',
        () => Number(sources.tailsLive()),
      )
    },
  }
}
