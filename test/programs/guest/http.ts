/** programs/lib/http.ts and net.ts for Node: texts lie at the addresses that the test chose. */
export { headLength, field, fieldLength, fieldHas, requestPath, decimal } from '../../../programs/lib/http';
export { parseV4, parsePort } from '../../../programs/lib/net';
