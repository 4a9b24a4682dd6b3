import { modules } from '@lockstep/modules';
import { Argument, type Command } from 'commander';

import { print } from './output.ts';

/** A command, by its path from the program (`crm edit`), with the words that may follow it. */
type Completed = { readonly path: string; readonly words: readonly string[] };

/** `completion`: a script for the shell, made from the commands as they are. */
export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('prints a script that completes commands, options and modules, e.g. source <(lockstep completion bash)')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .action((shell: 'bash' | 'zsh' | 'fish') => print(false, null, () => scripts[shell](completedOf(program))));
}

const scripts = { bash: bashScript, zsh: (of: readonly Completed[]) => `autoload -U +X bashcompinit && bashcompinit\n${bashScript(of)}`, fish: fishScript } as const;

function completedOf(command: Command, path: readonly string[] = []): Completed[] {
  const subcommands = command.commands;
  const options = command.options.flatMap(({ long, hidden }) => (long === undefined || hidden ? [] : [long]));
  const takesModule = command.registeredArguments.some((one) => ['module', 'modules'].includes(one.name()));
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const words = [...subcommands.map((one) => one.name()), ...options, '--help', ...(takesModule ? modules.map(({ apiName }) => apiName) : []), ...choices];
  return [{ path: path.join(' '), words }, ...subcommands.flatMap((one) => completedOf(one, [...path, one.name()]))];
}

function bashScript(commands: readonly Completed[]): string {
  const cases = commands.map(({ path, words }) => `    ${JSON.stringify(path)}) words=${JSON.stringify(words.join(' '))} ;;`);
  return `_lockstep() {
  local words path="" word known=${JSON.stringify(` ${commands.map(({ path }) => path.replaceAll(' ', '/')).join(' ')} `)}
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ "$known" == *" \${path:+\${path// //}/}$word "* ]]; then path="\${path:+$path }$word"; fi
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _lockstep lockstep
`;
}

function fishScript(commands: readonly Completed[]): string {
  const lines = commands.flatMap(({ path, words }) => {
    const at = path === '' ? '__fish_use_subcommand' : path.split(' ').map((name) => `__fish_seen_subcommand_from ${name}`).join('; and ');
    return words.map((word) => (word.startsWith('--') ? `complete -c lockstep -f -n '${at}' -l ${word.slice(2)}` : `complete -c lockstep -f -n '${at}' -a ${word}`));
  });
  return `${lines.join('\n')}\n`;
}
