// What EventsWebhook.cs uses of ASP.NET Core and System.Text.Json, so that mono's compiler, which has neither, checks its syntax, its names
// and its types. The signatures are those of .NET 8, except that MapPost takes this one kind of lambda and Parse an array. Nothing runs.
using System.Collections.Generic;
using System.IO;
using System.Text.Json;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;

namespace Microsoft.Extensions.Primitives
{
    public struct StringValues { public override string ToString() { return ""; } }
}

namespace Microsoft.AspNetCore.Http
{
    using Microsoft.Extensions.Primitives;

    public interface IResult { }

    public interface IHeaderDictionary { StringValues this[string key] { get; } }

    public abstract class HttpRequest
    {
        public abstract Stream Body { get; }
        public abstract IHeaderDictionary Headers { get; }
    }

    public static class Results
    {
        public static IResult Unauthorized() { return null; }
        public static IResult NoContent() { return null; }
    }
}

namespace Microsoft.AspNetCore.Builder
{
    public sealed class WebApplicationBuilder { public WebApplication Build() { return new WebApplication(); } }

    public sealed class WebApplication
    {
        public static WebApplicationBuilder CreateBuilder(string[] args) { return new WebApplicationBuilder(); }
        public void MapPost(string pattern, System.Func<HttpRequest, Task<IResult>> handler) { }
        public void Run(string url = null) { }
    }
}

namespace System.Text.Json
{
    public struct JsonElement
    {
        public JsonElement GetProperty(string name) { return this; }
        public bool TryGetProperty(string name, out JsonElement value) { value = this; return false; }
        public IEnumerable<JsonElement> EnumerateArray() { yield break; }
        public string GetString() { return null; }
        public override string ToString() { return ""; }
    }

    public sealed class JsonDocument : IDisposable
    {
        public static JsonDocument Parse(byte[] utf8Json) { return new JsonDocument(); }
        public JsonElement RootElement { get { return new JsonElement(); } }
        public void Dispose() { }
    }
}
