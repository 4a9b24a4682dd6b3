import { idOf, keyBase } from '../record-ids.ts';
import type { Lookup } from './field-spec.ts';

/** Texts of the sorts that break careless readers: other scripts, accents, quotes, commas, line breaks, emoji. */
export const firstNames = [
  'Zoë', 'Jürgen', 'María José', 'Ольга', '美咲', 'Søren', 'Aïcha', 'Łukasz', "D'Arcy", 'Anne-Marie', 'João', 'Γιώργος', 'نور', 'Priya',
  'Noah', 'Emma', 'Liam', 'Olivia', 'Mia', 'Lucas', 'Hannah', 'Ben', 'Clara', 'Felix', 'Ida', 'Jonas', 'Lena', 'Max', 'Nina', 'Oscar', 'Paula', 'Tom',
];
export const lastNames = [
  "O'Brien", 'Müller', 'García Márquez', 'Иванова', '田中', 'Nguyễn', 'Åkesson', 'van der Berg', 'Kowalczyk', 'Öztürk', 'Papadopoulos',
  'Smith', 'Johnson', 'Brown', 'Taylor', 'Wilson', 'Davies', 'Evans', 'Thomas', 'Roberts', 'Walker', 'Wright', 'Hill', 'Green', 'Baker',
  'Carter', 'Cooper', 'Ward', 'Turner', 'Parker', 'Morgan', 'de "Wit" Jansen',
];
export const companies = [
  'Müller & Söhne GmbH', 'The "Best" Bakery, Inc.', '株式会社みらい', 'Núñez, Pérez y Cía', 'Åre Skidskola AB', 'Blue;Green Ltd', 'ООО Ромашка', 'Café ☕ Central',
  'Northwind', 'Acme', 'Globex', 'Initech', 'Umbrella', 'Stark', 'Wayne', 'Hooli', 'Vandelay', 'Wonka', 'Cyberdyne', 'Soylent', 'Tyrell', 'Aperture', 'Oscorp', 'Gringotts',
];
export const streets = ['{n} High Street', 'Hauptstraße {n}', '{n} rue de l\'Église', 'Flat 3\n{n} Park Lane', 'ul. Długa {n}', '{n} "Old Mill" Road', 'Calle Mayor {n}, 2º', '{n} Station Road'];
export const cities = ['London', 'München', 'São Paulo', 'Kraków', '東京', 'Reykjavík', 'Chennai', 'Austin', 'Montréal', 'Göteborg', 'Athens', 'Sofia'];
export const states = ['Bavaria', 'Tamil Nadu', 'Texas', 'Québec', 'Île-de-France', 'Victoria'];
export const countries = ['Germany', 'India', 'United States', 'Canada', 'France', 'Brazil', 'Japan', 'Côte d\'Ivoire', 'Australia'];
export const sentences = [
  'Met at the fair; wants a quote by Friday.', 'Said: "call me back", twice.', 'Zweite Zeile folgt.\nHier ist sie.', 'Budget ~ 10 000 €, maybe more', 'Keep, commas, here',
  'Tab\there and a backslash \\n that is no line break', 'Line separator\u2028and paragraph separator\u2029inside', 'Next line\u0085vertical tab\u000Band form feed\u000Cinside',
  'Lone carriage return\rinside', 'Ends with a backslash \\', '\u00A0No-break space, zero-width\u200Bspace, right-to-left\u202Emark', 'Combining e\u0301 is not é', 'Needs approval 👍🏽', 'Long-standing customer since 2009', 'Windows line break\r\nfollows', 'Asked about delivery times',
];
export const tagNames = ['hot', 'new', 'VIP', 'follow up', 'fair 2024', 'Großkunde', 'do not call', 'partner'];
export const languages = ['English', 'German', 'French', 'Tamil', 'Português', '日本語', 'Hindi'];
export const currencies = ['USD', 'EUR', 'INR', 'GBP', 'JPY'];
export const leadSources = ['Advertisement', 'Cold Call', 'Employee Referral', 'Online Store', 'Partner', 'Web Download', 'Trade Show', 'Chat'];

/** People and records to point to; `count` of them, named from the pools. */
export function targets(base: number, count: number, name: (n: number) => string): readonly Lookup[] {
  return Array.from({ length: count }, (_, n) => ({ id: idOf(base + n), name: name(n) }));
}

const at = (pool: readonly string[], n: number): string => pool[n % pool.length] as string;
const person = (n: number): string => `${at(firstNames, n)} ${at(lastNames, n * 7 + 3)}`;

/** The organisation's users; the first is the one that calls the API. */
export const users: readonly Required<Lookup>[] = Array.from({ length: 12 }, (_, n) => ({
  id: idOf(keyBase.users + n),
  name: n === 0 ? 'Integration User' : person(n),
  email: `user${n}@crm.example`,
}));

/** The user whose token calls the API. */
export const currentUser = users[0] as Required<Lookup>;

export const contacts = targets(keyBase.contacts, 400, person);
export const accounts = targets(keyBase.accounts, 400, (n) => `${at(companies, n)} ${n}`);
export const campaigns = targets(keyBase.campaigns, 40, (n) => `Campaign "${2015 + (n % 10)}" #${n}`);
export const vendors = targets(keyBase.vendors, 100, (n) => `${at(companies, n + 5)} Supplies`);
