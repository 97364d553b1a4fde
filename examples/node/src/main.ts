/** Labels pictures with Eyas, and prints a line for each as it is answered. */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { status } from "@grpc/grpc-js";
import { Classifier } from "./connect.js";
import type { Prediction } from "./gen/eyas/v1/classification_service_pb.js";

const USAGE = `usage: node dist/main.js [options] MODEL PICTURE...   (a bearer token: EYAS_TOKEN)
  --address HOST:PORT   or dns:///NAME:PORT for all servers that the name has [EYAS_ADDRESS, or 127.0.0.1:50051]
  --tls                 encrypt, and check the server's certificate
  --ca FILE             PEM of the authority to trust; implies --tls
  --timeout SECONDS     deadline of a call, its repetitions included [10]`;
const IN_FLIGHT = 8; // one request at a time would leave all servers but one idle

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      address: { type: "string", default: process.env.EYAS_ADDRESS || "127.0.0.1:50051" },
      tls: { type: "boolean" },
      ca: { type: "string" },
      timeout: { type: "string", default: "10" },
    },
    allowPositionals: true,
  });
  const [model, ...names] = positionals;
  if (model === undefined || names.length === 0 || !(Number(values.timeout) > 0)) {
    console.error(USAGE);
    return 2;
  }
  // A signal ends the calls in flight; what was answered is printed, and the connection closed.
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());

  const { address, tls, ca } = values;
  const classifier = new Classifier({ address, tls, ca, token: process.env.EYAS_TOKEN || undefined });
  const waiting = names.values();
  let failed = 0;
  const work = async () => {
    for (const name of waiting) {
      try {
        const best = await classify(classifier, model, name, Number(values.timeout) * 1000, stop.signal);
        console.log(`${name}\t${best.label}\t${best.probability.toFixed(4)}`);
      } catch (error) {
        failed += 1;
        console.log(`${name}\t${(error as Error).message}`);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  } finally {
    classifier.close();
  }
  if (failed > 0) console.error(`classify: ${failed} of ${names.length} pictures have no label`);
  return failed > 0 ? 1 : 0;
}

/** Returns a picture's most probable label. */
async function classify(classifier: Classifier, model: string, name: string, timeoutMs: number, signal: AbortSignal): Promise<Prediction> {
  const images = [{ content: await readFile(name) }];
  const response = await classifier.classify({ model: `models/${model}`, images }, timeoutMs, signal);
  const outcome = response.results[0]!.outcome;
  switch (outcome.case) {
    case "classification":
      return outcome.value.predictions[0]!;
    case "error":
      throw new Error(`${outcome.value.code} ${status[outcome.value.code]}: ${outcome.value.message}`);
    default:
      throw new Error("The server answered nothing that this client knows: is it newer?");
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`classify: ${(error as Error).message}`);
  process.exitCode = 2;
}
