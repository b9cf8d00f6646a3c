// The types of wit/transform.wit in TypeScript.

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
    /** The time of the event: RFC 3339, UTC, milliseconds. */
    occurredAt: string;
    headers: Header[];
    /** The event's data: JSON text, exactly as published. */
    body: string;
  }

  /** The message that is sent in place of the event's data. */
  export interface Message {
    body: string;
    /** `application/json` by default. */
    contentType?: string;
    headers: Header[];
  }

  /** `pass` sends the data as it is, `replace` sends this message instead, `drop` sends nothing and gives the reason. */
  export type Outcome = { tag: 'pass' } | { tag: 'replace'; val: Message } | { tag: 'drop'; val: string };
}

declare module 'posthaste:transform/log@0.1.0' {
  export type Level = 'debug' | 'info' | 'warn' | 'error';

  /** Adds a line to this attempt's log. */
  export function write(level: Level, message: string): void;
}

/** Writes to the attempt's log; see component.ts. */
declare var console: Record<'debug' | 'log' | 'info' | 'warn' | 'error', (...parts: unknown[]) => void>;
