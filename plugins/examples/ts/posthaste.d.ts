// What wit/transform.wit says, in TypeScript's words.

declare module 'posthaste:transform/types@0.1.0' {
  /** A header as [name, value]. Names are compared without regard to case. */
  export type Header = [string, string];

  /** One event, as its producer published it. */
  export interface Event {
    /** The same on every attempt, and the `webhook-id` that the receiver sees. */
    id: string;
    eventType: string;
    /** The company (tenant) that the event belongs to. */
    company: string;
    /** When it happened: RFC 3339, UTC, milliseconds. */
    occurredAt: string;
    headers: Header[];
    /** The event's data: JSON text, exactly as published. */
    body: string;
  }

  /** What is sent in place of the event's data. */
  export interface Message {
    body: string;
    /** Absent keeps `application/json`. */
    contentType?: string;
    headers: Header[];
  }

  /** `pass` sends the data as it is, `replace` this instead, `drop` nothing, for the reason given. */
  export type Outcome = { tag: 'pass' } | { tag: 'replace'; val: Message } | { tag: 'drop'; val: string };
}

declare module 'posthaste:transform/log@0.1.0' {
  export type Level = 'debug' | 'info' | 'warn' | 'error';

  /** Adds a line to this attempt's log. */
  export function write(level: Level, message: string): void;
}

/** Writes to the attempt's log, see component.ts. */
declare var console: Record<'debug' | 'log' | 'info' | 'warn' | 'error', (...parts: unknown[]) => void>;
