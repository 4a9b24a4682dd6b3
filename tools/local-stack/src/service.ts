/** What each provider of a service is given. */
export type ServiceOptions = {
  readonly dataDir: string;
  /** The port to listen on; a free one when undefined. */
  readonly port: number | undefined;
  /** True: remove the data of earlier runs first. */
  readonly isFresh: boolean;
  /** False: a power cut may cost data, and everything is faster. */
  readonly isDurable: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly log: (line: string) => void;
};

/** A service that may be crashed, to see what its users make of it. */
export type Crashable = {
  /** Ends it by SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again after that, on the same port and data; returns once it does its work. */
  restart(): Promise<void>;
};
