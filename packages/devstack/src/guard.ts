import { type ChildProcess, spawn } from 'node:child_process'

/**
 * A tiny shell that outlives this process by a moment. It reads what is running and what is throw-away; when the
 * pipe closes, for whatever reason (exit, crash, SIGKILL), it kills and removes what is left. A shell, because it
 * costs 1 MB where a Node process costs 40. SIGKILL, because it also ends what is paused; the stores are journaled.
 */
const script = `
trap '' INT TERM HUP
pids=' '
dirs=''
while read -r op value; do
  case "$op" in
    run) pids="$pids$value " ;;
    end) case "$pids" in *" $value "*) pids="\${pids%% $value *} \${pids#* $value }" ;; esac ;;
    dir) dirs="$dirs
$value" ;;
  esac
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
printf '%s\\n' "$dirs" | while read -r dir; do
  case "$dir" in */parley-*) sleep 0.2; rm -rf -- "$dir" ;; esac
done
`

let shell: ChildProcess | undefined
const running = new Set<number>()
const folders = new Set<string>()

function tell(line: string): void {
  shell ??= openGuard()
  shell.stdin?.write(`${line}\n`)
}

function openGuard(): ChildProcess {
  const child = spawn('/bin/sh', ['-c', script], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  // Without a guard only a SIGKILL of this process leaves children behind; the next message opens a new one.
  const forget = () => {
    if (shell === child) shell = undefined
  }
  child.once('exit', forget)
  child.once('error', forget)
  child.stdin.on('error', forget)
  child.unref()
  if ('unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref()
  for (const pid of running) child.stdin.write(`run ${pid}\n`)
  for (const folder of folders) child.stdin.write(`dir ${folder}\n`)
  return child
}

/** Ends the process with this one, however this one ends. */
export function guardProcess(pid: number): void {
  tell(`run ${pid}`)
  running.add(pid)
}

/** The process is gone: its number may soon belong to somebody else. */
export function releaseProcess(pid: number): void {
  running.delete(pid)
  tell(`end ${pid}`)
}

/** Removes the folder with this process, however it ends. Only folders named `parley-…` are ever removed. */
export function guardFolder(folder: string): void {
  tell(`dir ${folder}`)
  folders.add(folder)
}

/** The folder is gone already. */
export function releaseFolder(folder: string): void {
  folders.delete(folder)
}
