// Runs the conformance suite of the Durable Streams protocol against the server at DURABLE_URL.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.DURABLE_URL });
