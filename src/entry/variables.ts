import { variableTable } from '../config.ts';

const WIDTH = 120;

/** The variables for --help: a line each. */
export const helpText = (): string =>
  variableTable()
    .map(({ name, description, default: value }) => `  ${name.padEnd(22)} ${description} (${value})\n`)
    .join('');

/** README.md's table of variables (Markdown). */
export function markdownTable(): string {
  const rows = variableTable().map(({ name, default: value, isValue, description }) => [
    `\`${name}\``,
    isValue ? `\`${value}\`` : value,
    description,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |\n`;
  const rule = widths.map((width) => '-'.repeat(width));
  return [['Variable', 'Default', 'Meaning'], rule, ...rows].map(line).join('');
}

/** The text of .dev.vars.example: every variable, commented out, at its default. */
export function exampleFile(): string {
  const variables = variableTable().map(({ name, default: value, isValue, description }) => {
    const comment = isValue ? description : `${description} (left out: ${value})`;
    return `${wrapped(`${comment}.`)}# ${name}=${isValue ? value : ''}\n`;
  });
  const start = '`npm start`, `npm run start:bun` and `npx wrangler dev` read this file as .dev.vars.';
  return [wrapped(`${start} Every variable may be left out.`), ...variables].join('\n');
}

/** The text as lines of comment. */
function wrapped(text: string): string {
  const lines = [''];
  for (const word of `${text[0]?.toUpperCase()}${text.slice(1)}`.split(' ')) {
    const line = `${lines.at(-1)} ${word}`;
    if (line.length < WIDTH) lines[lines.length - 1] = line;
    else lines.push(` ${word}`);
  }
  return lines.map((line) => `#${line}\n`).join('');
}
