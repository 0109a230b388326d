import { defineConfig } from 'vitest/config'

const devstack = './packages/devstack/src/testing'

export default defineConfig({
  ssr: { resolve: { conditions: ['@parley/source', 'module', 'node', 'development|production'] } },
  test: {
    globalSetup: [`${devstack}/global-setup.ts`],
    setupFiles: [`${devstack}/quiet.ts`, `${devstack}/patient.ts`],
    pool: 'forks',
    execArgv: ['--conditions=@parley/source'],
    expect: { poll: { timeout: 10_000 } },
    // Several times what any of them needs on an idle machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'services/*/src/**/*.test.ts'],
          // Most of their time they wait, also where there are only two cores.
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: {
          name: 'blackbox',
          include: ['tests/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'tests/faults/**'],
          // Each file starts services of its own, and waits for timers of theirs most of its time.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'faults',
          include: ['tests/faults/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          // Each of these loads the machine by itself; side by side they would only measure each other.
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
