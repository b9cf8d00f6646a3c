// An OpenID provider that is independent of Posthaste. It supports client credentials with resource indicators (RFC 8707),
// for which it issues access tokens as JWTs (RFC 9068). A client id is the name of its company, and the resource names the
// signature algorithm. The provider prints its issuer once it listens; `POST /rotate` replaces its keys.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const SCOPES = ['webhooks', 'webhooks:read', 'events', 'reports'];
const KINDS = { RS256: ['rsa', { modulusLength: 2048 }], ES256: ['ec', { namedCurve: 'P-256' }], EdDSA: ['ed25519', {}] };

function keys() {
  return Object.entries(KINDS).map(([alg, [type, options]]) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
    kid: randomUUID(),
    use: 'sig',
    alg,
  }));
}

function client(company) {
  return {
    client_id: company,
    client_secret: 'secret',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: SCOPES.join(' '),
  };
}

function provider(issuer) {
  return new Provider(issuer, {
    clients: [client('acme'), client('42')],
    jwks: { keys: keys() },
    scopes: SCOPES,
    extraTokenClaims: (_, token) => ({ company_id: token.clientId === '42' ? 42 : token.clientId }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: SCOPES.join(' '),
          audience: 'posthaste',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: resource.split(':').pop() } },
        }),
      },
    },
  }).callback();
}

let answer;
const server = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    answer = provider(issuer);
    response.end();
  } else {
    answer(request, response);
  }
});
let issuer;
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  answer = provider(issuer);
  console.log(issuer);
});
