import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Client, Metadata, credentials } from "@grpc/grpc-js";
import { ClassificationService } from "./gen/eyas/v1/classification_service_pb.js";
import type { ClassifyRequestSchema, ClassifyResponse } from "./gen/eyas/v1/classification_service_pb.js";

/**
 * Spreads calls over all servers of the name, and repeats those that no server has answered or that a full one has refused, within
 * their deadline. A server that refuses says when to come back, and gRPC waits until then; else it waits as long as this policy says.
 */
const serviceConfig = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{ service: "eyas.v1.ClassificationService", method: "Classify" }],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.05s",
        maxBackoff: "0.5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"],
      },
    },
  ],
};

/** The most that a server takes. gRPC never repeats what does not fit its buffer, which is 1 MiB unless told. */
const MAX_REQUEST_BYTES = 32 * 1024 * 1024;

export interface Server {
  /** HOST:PORT, or dns:///NAME:PORT for all servers that the name has. */
  address: string;
  tls?: boolean;
  /** PEM file of the authorities to trust, and implies TLS. */
  ca?: string;
  token?: string;
}

/** A connection, to be closed; nothing is sent before the first call. */
export class Classifier {
  private readonly client: Client;
  private readonly metadata = new Metadata();

  constructor({ address, ca, tls = ca !== undefined, token }: Server) {
    if (token !== undefined) {
      if (!tls && !isLocal(address)) {
        throw new Error(`The token would travel to ${address} in the clear: turn TLS on.`);
      }
      this.metadata.set("authorization", `Bearer ${token}`);
    }
    const transport = tls ? credentials.createSsl(ca === undefined ? null : readFileSync(ca)) : credentials.createInsecure();
    this.client = new Client(address, transport, {
      "grpc.service_config": JSON.stringify(serviceConfig),
      "grpc.per_rpc_retry_buffer_size": MAX_REQUEST_BYTES,
      "grpc.retry_buffer_size": 4 * MAX_REQUEST_BYTES,
      // gRPC's own go up to two minutes, and a server that was replaced is back in seconds.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2_000,
      // A name is asked again when a server of its goes; gRPC's own 30 s are longer than it takes to replace all of them.
      "grpc.dns_min_time_between_resolutions_ms": 1_000,
      "grpc.keepalive_time_ms": 30_000,
      "grpc.keepalive_timeout_ms": 10_000,
    });
  }

  /**
   * Labels 1 to 64 pictures; each has a result, or an error of its own.
   *
   * @param timeoutMs deadline of the call, its repetitions included.
   * @param signal ends the call.
   */
  classify(request: MessageInitShape<typeof ClassifyRequestSchema>, timeoutMs: number, signal?: AbortSignal): Promise<ClassifyResponse> {
    const { input, output, name, parent } = ClassificationService.method.classify;
    return new Promise((resolve, reject) => {
      const call = this.client.makeUnaryRequest(
        `/${parent.typeName}/${name}`,
        (message) => Buffer.from(toBinary(input, message)),
        (bytes) => fromBinary(output, bytes),
        create(input, request),
        this.metadata,
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          signal?.removeEventListener("abort", cancel);
          if (error !== null) reject(error);
          else resolve(response!);
        },
      );
      const cancel = () => call.cancel();
      if (signal?.aborted) cancel();
      else signal?.addEventListener("abort", cancel);
    });
  }

  close(): void {
    this.client.close();
  }
}

function isLocal(address: string): boolean {
  return /^(dns:\/\/\/)?(localhost|127\.[0-9.]+|\[::1\]):\d+$/.test(address);
}
